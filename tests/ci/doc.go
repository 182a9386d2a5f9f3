// Package ci plays examples/ci as a CI system would: each stage in a folder of its
// own, the shell parts of its files run as they stand.
package ci
