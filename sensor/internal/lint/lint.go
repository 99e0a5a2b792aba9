// Package lint holds the tests that keep the house in order: import policy, package docs, file sizes, stray words.
package lint
