package render

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/spec"
)

// What of SARIF 2.1.0 is written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string         `json:"id"`
		Short         sarifText      `json:"shortDescription"`
		Help          sarifText      `json:"help"`
		Configuration sarifLevel     `json:"defaultConfiguration"`
		Properties    map[string]any `json:"properties"`
	}
	sarifText  struct{ Text string } // marshalled below
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Start         string              `json:"startTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]any    `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// MarshalJSON writes {"text": …}.
func (t sarifText) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"text": t.Text})
}

// SARIFSchema is where the format is defined, and stands first in each such report.
const SARIFSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// SARIFHead begins each such report of ours, and none of another tool.
const SARIFHead = `{
  "$schema": "` + SARIFSchema + `",
  "version": "2.1.0",
  "runs": [
    {
      "tool": {
        "driver": {
          "name": "requorum",`

// AuditSARIF gives the report as SARIF 2.1.0, for code scanning: a result stands at the
// line of the file that it is about. Files below dir are named from there; paths are clean.
func AuditSARIF(r audit.Report, dir string) ([]byte, error) {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{Name: "requorum", Version: r.Version, Rules: []sarifRule{}}}, Results: []sarifResult{}, ColumnKind: "unicodeCodePoints",
		Invocations: []sarifInvocation{{Successful: r.Whole(), Start: r.At}},
	}
	index := map[audit.Code]int{}
	for _, k := range audit.Kinds() {
		index[k.Code] = len(run.Tool.Driver.Rules)
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: string(k.Code), Short: sarifText{k.Title}, Help: sarifText{k.Remedy + " See requorum explain " + string(k.Code) + "."},
			Configuration: sarifLevel{sarifLevelOf(k.Severity)}, Properties: map[string]any{"severity": k.Severity},
		})
	}
	for _, c := range r.Clusters {
		if c.Problem != "" {
			in := &run.Invocations[0]
			in.Notifications = append(in.Notifications, sarifNotification{"error", sarifText{c.Path + ": " + c.Problem}, sarifAt(spec.Position{File: c.Path}, dir, nil)})
		}
		for _, f := range c.Findings {
			who := c.Name
			if f.Member != "" {
				who += "/" + f.Member
			}
			sum := sha256.Sum256([]byte(strings.Join([]string{below(c.Path, dir), string(f.Code), c.Name, f.Member}, "\x00")))
			pos := f.Pos
			if pos.File == "" {
				pos = spec.Position{File: c.Path}
			}
			run.Results = append(run.Results, sarifResult{
				RuleID: string(f.Code), RuleIndex: index[f.Code], Level: sarifLevelOf(f.Severity),
				Message:      sarifText{fmt.Sprintf("%s: %s. Seen: %s. %s", who, f.Title, f.Fact, strings.Join(f.Remedy, " "))},
				Locations:    sarifAt(pos, dir, []sarifLogical{{who, "object"}}),
				Fingerprints: map[string]string{"requorum/v1": fmt.Sprintf("%x", sum[:16])},
				Properties:   map[string]any{"severity": f.Severity, "cluster": c.Name, "member": f.Member},
			})
		}
	}
	b, err := json.MarshalIndent(sarifLog{SARIFSchema, "2.1.0", []sarifRun{run}}, "", "  ")
	return append(b, '\n'), err
}

// sarifLevelOf is SARIF's own word: it knows nothing worse than an error.
func sarifLevelOf(v audit.Severity) string {
	switch {
	case v >= audit.Error:
		return "error"
	case v == audit.Warning:
		return "warning"
	}
	return "note"
}

func sarifAt(pos spec.Position, dir string, logical []sarifLogical) []sarifLocation {
	p := sarifPhysical{Artifact: sarifArtifact{fileURI(pos.File, dir)}}
	if pos.Line > 0 {
		p.Region = &sarifRegion{pos.Line, pos.Column}
	}
	return []sarifLocation{{p, logical}}
}

// below is a clean path from dir, where it lies below it; another's is left whole.
func below(path, dir string) string {
	if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/"); ok && dir != "" {
		return rest
	}
	return strings.TrimPrefix(path, "./")
}

// fileURI is a path as a reference: relative where it lies below dir or is so already.
func fileURI(path, dir string) string {
	path = below(path, dir)
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if strings.HasPrefix(path, "/") {
		return "file://" + b.String()
	}
	return b.String()
}
