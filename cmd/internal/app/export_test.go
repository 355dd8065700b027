package app

import "github.com/go-chi/chi/v5"

// PrivateRoutes is the router of the private listener, as it serves.
func (a *App) PrivateRoutes() chi.Routes {
	r, _ := a.private.server.(*netHTTP).Handler.(chi.Routes)
	return r
}
