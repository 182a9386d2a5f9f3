// Package secrets plants marked secrets in every place where a user can put one,
// and searches all that requorum says and writes for them.
package secrets
