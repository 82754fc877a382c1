// Package engine runs one Pulumi stack: it opens it (one run at a time, left-over locks cleared), makes a run that
// was killed good again, brings it up, previews or destroys it, and turns the engine's events into lines for a person.
//
// In goes a work folder (package project), an environment (package cloud) and a program; out come the stack's
// outputs, counts of changes, and errors whose first line is the message of the resource that failed. It knows
// neither which cloud it works on nor what the program makes.
package engine
