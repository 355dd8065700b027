package apitoken

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Role says what a token may do; each may do all that the one before it may.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // reads
	Operator Role = "operator" // acts
	Admin    Role = "admin"    // tokens and erasure, too
)

// Roles lists them, the least first.
func Roles() []Role { return []Role{Viewer, Operator, Admin} }

// Allows reports whether the role may do what needs another. A role that does not exist neither allows nor is
// allowed anything.
func (r Role) Allows(needed Role) bool {
	return r.rank() > 0 && needed.rank() > 0 && r.rank() >= needed.rank()
}

func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// Token is what is known of a token; the secret itself is not.
type Token struct {
	ID         int64
	PublicID   uuid.UUID
	Name       string
	Role       Role
	CreatedAt  time.Time
	LastUsedAt *time.Time // to the minute
	RevokedAt  *time.Time
}

const (
	// prefix tells a leaked secret from other strings, for people and for scanners.
	prefix = "onw_"
	// secretBytes are beyond any guessing, so the database keeps a plain hash.
	secretBytes = 32
	// maxName is what an operator's log can still show in a column.
	maxName = 100
)

// Errors of this package.
var (
	ErrUnknown = errors.New("no such token, or it is revoked")
	ErrName    = fmt.Errorf("a token's name has 1 to %d characters", maxName)
	ErrRole    = errors.New("a token's role is viewer, operator or admin")
)

// DB is where tokens are: a pool, or a transaction that does more.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Create makes a token and returns its secret, which nobody can see again.
func Create(ctx context.Context, db DB, name string, role Role) (Token, string, error) {
	name = strings.TrimSpace(name)
	if n := utf8.RuneCountInString(name); n == 0 || n > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return Token{}, "", ErrName
	}
	if role.rank() == 0 {
		return Token{}, "", ErrRole
	}
	random := make([]byte, secretBytes)
	if _, err := rand.Read(random); err != nil {
		return Token{}, "", fmt.Errorf("read random bytes: %w", err)
	}
	secret := prefix + base64.RawURLEncoding.EncodeToString(random)
	public, err := uuid.NewV7()
	if err != nil {
		return Token{}, "", fmt.Errorf("make an id: %w", err)
	}
	rows, err := db.Query(ctx, `
		INSERT INTO api_tokens (public_id, name, role, token_hash)
		VALUES ($1, $2, $3, $4)
		RETURNING `+columns, public, name, role, hash(secret))
	if err != nil {
		return Token{}, "", fmt.Errorf("create token: %w", err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scan)
	if err != nil {
		return Token{}, "", fmt.Errorf("create token: %w", err)
	}
	return t, secret, nil
}

// List returns every token, revoked ones included, the newest first.
func List(ctx context.Context, db DB) ([]Token, error) {
	rows, err := db.Query(ctx, `
		SELECT `+columns+`
		FROM api_tokens
		ORDER BY id DESC`)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

// Revoke ends the token with this id, or all with this name, and returns them; [ErrUnknown] when there is none
// to end. Processes that have seen the token lately go on to accept it for up to [CacheFor].
func Revoke(ctx context.Context, db DB, idOrName string) ([]Token, error) {
	condition, arg := `name = $1`, any(strings.TrimSpace(idOrName))
	if id, err := uuid.Parse(idOrName); err == nil {
		condition, arg = `public_id = $1`, id
	}
	rows, err := db.Query(ctx, `
		UPDATE api_tokens
		SET revoked_at = now()
		WHERE `+condition+` AND revoked_at IS NULL
		RETURNING `+columns, arg)
	if err != nil {
		return nil, fmt.Errorf("revoke token: %w", err)
	}
	list, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("revoke token: %w", err)
	}
	if len(list) == 0 {
		return nil, ErrUnknown
	}
	return list, nil
}

// Authenticate finds the token that a secret belongs to; [ErrUnknown] when there is none, or no longer.
func Authenticate(ctx context.Context, db DB, secret string) (Token, error) {
	if !strings.HasPrefix(secret, prefix) {
		return Token{}, ErrUnknown
	}
	return authenticate(ctx, db, hash(secret))
}

func authenticate(ctx context.Context, db DB, hashed []byte) (Token, error) {
	rows, err := db.Query(ctx, `
		SELECT `+columns+`
		FROM api_tokens
		WHERE token_hash = $1 AND revoked_at IS NULL`, hashed)
	if err != nil {
		return Token{}, fmt.Errorf("look up token: %w", err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return Token{}, ErrUnknown
	}
	if err != nil {
		return Token{}, fmt.Errorf("look up token: %w", err)
	}
	_, err = db.Exec(ctx, `
		UPDATE api_tokens
		SET last_used_at = now()
		WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`, t.ID)
	if err != nil {
		return Token{}, fmt.Errorf("note the use of a token: %w", err)
	}
	return t, nil
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// columns are those that [scan] reads.
const columns = `id, public_id, name, role, created_at, last_used_at, revoked_at`

func scan(row pgx.CollectableRow) (Token, error) {
	var t Token
	err := row.Scan(&t.ID, &t.PublicID, &t.Name, &t.Role, &t.CreatedAt, &t.LastUsedAt, &t.RevokedAt)
	t.CreatedAt, t.LastUsedAt, t.RevokedAt = t.CreatedAt.UTC(), utc(t.LastUsedAt), utc(t.RevokedAt)
	return t, err
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
