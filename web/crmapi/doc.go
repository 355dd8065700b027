// Package crmapi is the JSON API of the private listener: contacts, sites, campaigns, messages, receipts and
// suppressions under /api/v1, its OpenAPI description and a page that shows it.
//
// It imports jobs (and jobs/messagetext), lifecycle, lifecycle/pgstore and web/apitoken. It moves no status by
// itself: what happened goes through pgstore.Apply as a fact, in one transaction with the operator's action that
// says who did it and why, and with the jobs that follow.
package crmapi
