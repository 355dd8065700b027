package worker

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// FetchedReceipt is the receipt of a job, read with the job.
type FetchedReceipt struct {
	JobID      int64
	ID         uuid.UUID
	Provider   string
	Kind       string
	Query      string
	Body       []byte
	DedupeKey  string
	ReceivedAt time.Time
}

// maxFetched bounds the receipts that are kept: more than any fetch brings.
const maxFetched = 4096

// Fetched keeps the receipts that came along with a fetch until their jobs ask for them, moments later. A receipt is never
// changed, but that an erasure blanks it: a status callback that is applied then all the same says nothing of a person.
type Fetched struct {
	mu    sync.Mutex
	byJob map[int64]receipt
}

// Keep keeps a receipt.
func (f *Fetched) Keep(r FetchedReceipt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byJob == nil || len(f.byJob) >= maxFetched {
		// Jobs that never asked, since River never started them. Those that will read their receipts themselves.
		f.byJob = make(map[int64]receipt)
	}
	f.byJob[r.JobID] = receipt{
		ID: r.ID, Provider: r.Provider, Kind: r.Kind, Query: r.Query, Body: r.Body, DedupeKey: r.DedupeKey, ReceivedAt: r.ReceivedAt, JobID: r.JobID,
	}
}

// take hands out the receipt of a job, if there is one; a nil Fetched has none.
func (f *Fetched) take(job int64) (receipt, bool) {
	if f == nil {
		return receipt{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.byJob[job]
	delete(f.byJob, job)
	return r, ok
}
