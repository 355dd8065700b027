// Package plainhttp is the public listener's HTTP. Requests in the plain form that providers and browsers send are read
// here: HTTP/1.1, whole within a buffer, nothing about them that two readers could understand differently. Everything
// else goes to net/http, with the bytes that were read so far, and stays there until its connection ends: this package
// refuses no request and is lenient about none (docs/decisions/0016).
//
// A webhook in plain form costs the web process a third less: no header map, no context, no deadlines and no response
// writer of its own. Plain requests for other paths are handed to an [http.Handler].
//
// It imports the standard library alone.
package plainhttp
