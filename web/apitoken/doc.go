// Package apitoken keeps the tokens by which programs and people reach the private HTTP: it makes, lists and
// revokes them, and puts a token's holder into the context of a request. It imports nothing of ours.
package apitoken
