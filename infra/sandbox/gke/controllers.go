package gke

import (
	"patag/infra/sandbox/cluster"
)

// controllers are those of a cluster: the engine's own and those it was given.
func (r *run) controllers() []cluster.Controller {
	own := []cluster.Controller{}
	return append(own, r.e.o.Controllers...)
}
