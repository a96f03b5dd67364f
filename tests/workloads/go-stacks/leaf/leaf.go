// Package leaf has assembly: a package with C code may have none.
package leaf

// Spin is a loop without a frame.
func Spin(rounds uint64) uint64
