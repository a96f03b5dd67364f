// Says what the Go runtime says of every address of this program's own code: ranges of addresses with
// the functions there, innermost first. See ranges.go.
//
// With the argument `burn` it computes instead, through inlined, generic and wrapped functions.
package main

import "os"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "burn" {
		burn()
		return
	}
	say(os.Stdout)
}
