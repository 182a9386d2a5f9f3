// Package planner compares the cluster that a file describes with the one that
// was observed, and gives the steps that lead from one to the other, or the
// reason why there is no safe way.
//
// It is pure: New is a function of its Input alone. No clock, no randomness, no
// network, no files, no logging; whatever it needs of those is a value in Input.
// The same input gives the same plan, byte for byte.
//
// It takes the least destructive route that leads to the goal (Routes), never
// takes an unknown for an absence (Fact), and answers what it can't plan safely
// with a Refusal that has a stable code.
package planner
