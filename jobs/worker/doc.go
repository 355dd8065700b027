// Package worker works the jobs: one file a job. A job that applies a receipt runs in one transaction and
// rests its exactly-once effect on the facts' unique key, not on the queue; a job that sends keeps the
// provider call outside every transaction (see send.go).
//
// It imports jobs, jobs/provider, lifecycle and lifecycle/pgstore.
package worker
