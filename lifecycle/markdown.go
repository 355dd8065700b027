package lifecycle

// The reference in docs is made by asking these rules, so it cannot say anything else than they do; the
// test of gendocs fails when it is out of date.

//go:generate go run ./gendocs ../docs/lifecycle.md
