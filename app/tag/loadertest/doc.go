// Package loadertest tries the loader in a real browser: a page of a publisher with a strict policy, the tag server with a catalogue
// of its own, and headless Chromium between them. It has tests only.
package loadertest
