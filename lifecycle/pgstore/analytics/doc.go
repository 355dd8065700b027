// Package analytics says what the facts of all businesses add up to: a funnel, what campaigns brought, whose money it
// is, which customers may be lost. docs/analytics.md defines every number.
//
// Nothing is counted when it is asked for, and nothing is written when a fact is: [Advance] follows the facts at a
// distance of seconds and keeps, for each business, what it contributes to the sums. What is asked for is read from
// these, and says as of when it holds.
//
// It imports lifecycle, lifecycle/pgstore and pgx.
package analytics
