// Package pgstore applies facts in a caller's transaction. It is the only writer of statuses, facts,
// transitions, suppressions and message states. It imports lifecycle and pgx.
//
// Callers own transactions. Within one, locks are taken in one order, so that callers cannot deadlock:
// messages, businesses, sites (each by ascending id), addresses (by channel, address), campaigns, campaign counters.
package pgstore
