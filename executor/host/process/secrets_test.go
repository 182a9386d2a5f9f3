package process

import (
	"errors"
	"slices"
	"testing"
)

// What is told of a command line has no secret in it, and all else.
func TestTellArgs(t *testing.T) {
	got := tellArgs([]string{
		"-c", "PW=x etcd", "--name", "m1", "--discovery-password=x", "-discovery-user", "ops:x", "--discovery=https://d/x",
		"--auth-token", "jwt,sign-method=ES256", "--root-password", "x", "--cors=http://a:x@h,http://h", "--data-dir=/a@b", "--pre-vote", "--initial-cluster=m1=http://h:1",
	})
	want := []string{
		"-c", "(sensitive)", "--name", "m1", "--discovery-password=(sensitive)", "-discovery-user", "(sensitive)", "--discovery=(sensitive)",
		"--auth-token", "(sensitive)", "--root-password", "(sensitive)", "--cors=http://(sensitive)@h,http://h", "--data-dir=/a@b", "--pre-vote", "--initial-cluster=m1=http://h:1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// Settings that a process would miss are named, those of discovery are not missed.
func TestTellSettings(t *testing.T) {
	got, err := SettingsFrom([]string{"--name=m1", "--discovery-password=x", "--cors=http://a:x@h"}, []string{"ETCD_DISCOVERY_USER=x"}, "/")
	var secret *SecretError
	if !errors.As(err, &secret) || !slices.Equal(secret.Names, []string{"cors"}) {
		t.Errorf("%v", err)
	}
	if got["cors"] != "http://(sensitive)@h" || got["name"] != "m1" || got["discovery-password"] != "" || got["discovery-user"] != "" {
		t.Errorf("%v", got)
	}
	if _, err := SettingsFrom([]string{"--name=m1", "--discovery-password=x"}, nil, "/"); err != nil {
		t.Error(err)
	}
}
