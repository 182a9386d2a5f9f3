// Package scenario holds what requorum must do on real etcd: one file for each
// scenario, each with at least 1,000 keys, every key compared on every member
// afterwards. It has tests only; package harness runs the clusters.
package scenario
