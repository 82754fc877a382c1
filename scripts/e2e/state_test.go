package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// state is what Kubernetes says of the platform.
type state struct {
	nodes []string
	pods  []pod
	// wrong says what is not as it should be.
	wrong []string
}

type pod struct {
	name, part, uid, node string
	restarts              int
	leaving               bool
}

// look asks once. All is well when every node and pod is ready, every set complete, and the control plane runs.
func (m *machine) look() (state, error) {
	raw, err := m.kubectl("get", "nodes,pods,deployments,statefulsets", "-o", "json")
	if err != nil {
		return state{}, err
	}
	var list struct {
		Items []struct {
			Kind     string
			Metadata struct {
				Name, UID         string
				Labels            map[string]string
				Generation        int
				DeletionTimestamp *time.Time
			}
			Spec struct {
				NodeName string
				Replicas int
			}
			Status struct {
				Phase                                                        string
				ObservedGeneration, Replicas, UpdatedReplicas, ReadyReplicas int
				Conditions                                                   []struct{ Type, Status string }
				ContainerStatuses                                            []struct{ RestartCount int }
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return state{}, err
	}
	var s state
	for _, o := range list.Items {
		name, st := o.Metadata.Name, o.Status
		ready := slices.ContainsFunc(st.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
		switch o.Kind {
		case "Node":
			s.nodes = append(s.nodes, name)
		case "Pod":
			if st.Phase == "Succeeded" {
				continue
			}
			p := pod{name: name, part: o.Metadata.Labels["app.kubernetes.io/name"], uid: o.Metadata.UID, node: o.Spec.NodeName, leaving: o.Metadata.DeletionTimestamp != nil}
			for _, c := range st.ContainerStatuses {
				p.restarts += c.RestartCount
			}
			s.pods = append(s.pods, p)
			ready = ready && !p.leaving
		default:
			ready = st.ObservedGeneration >= o.Metadata.Generation && st.UpdatedReplicas == o.Spec.Replicas && st.ReadyReplicas == o.Spec.Replicas && st.Replicas == o.Spec.Replicas
		}
		if !ready {
			s.wrong = append(s.wrong, o.Kind+" "+name)
		}
	}
	if running := len(m.parts(controlPlane...)); running != len(controlPlane) {
		s.wrong = append(s.wrong, fmt.Sprintf("%d of %d processes of the control plane run", running, len(controlPlane)))
	}
	if len(s.nodes) == 0 || len(s.pods) == 0 {
		return s, errors.New("there are no nodes or no pods")
	}
	return s, nil
}

// of are the pods of a part.
func (s state) of(part string) []pod {
	return slices.DeleteFunc(slices.Clone(s.pods), func(p pod) bool { return p.part != part || p.leaving })
}

// restarts adds up those of a part.
func (s state) restarts(part string) int {
	sum := 0
	for _, p := range s.of(part) {
		sum += p.restarts
	}
	return sum
}
