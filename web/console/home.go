package console

import (
	"net/http"

	"onward/web/apitoken"
)

func (c *Console) homeRoutes() []Route {
	return []Route{
		{http.MethodGet, "/", apitoken.Viewer, c.home},
	}
}

// home is what needs somebody now, and how things go.
func (c *Console) home(v *visit) error {
	return v.render("home", "Home", nil)
}
