package worker

import "sync"

// FetchedReceipt is the receipt of a job, read with the job.
type FetchedReceipt = receipt

// maxFetched bounds the receipts that are kept: more than any fetch brings.
const maxFetched = 4096

// Fetched keeps the receipts that came along with a fetch until their jobs ask for them, moments later. A receipt is never
// changed, but that an erasure blanks it, which waits for what is not applied yet. One that is applied again may be blanked
// meanwhile: a status callback then changes nothing, and says nothing of a person.
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
	f.byJob[r.JobID] = r
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
