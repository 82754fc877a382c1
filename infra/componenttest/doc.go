// Package componenttest holds the tests that every component must pass, in one place because what they import takes
// long to link: that incomplete arguments are an error, not a panic in the engine, and what single components make of
// their arguments.
package componenttest
