// Package policy is the rules that every stack is held to: no public bucket, no service-account key, no public node, only
// spot machines in staging, and so on (Rules lists them).
//
// In goes what a program registers, out come violations: which resource, which rule, why, what to do. The rules meet a program
// at two places. Program runs it on a recorder, in a tenth of a second and before anything is touched. Serve offers them to
// Pulumi's engine as a policy pack, which sees as well what only the engine knows: values that other resources compute.
//
// A value that is not known yet breaks no rule. The package knows no cloud but Google's, and none of the programs.
package policy
