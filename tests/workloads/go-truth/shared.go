//go:build shared

package main

import "C"

import "os"

//export say_ranges
func say_ranges() { say(os.Stdout) }
