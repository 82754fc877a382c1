// Package googleapi is the core of the sandbox's Google API: an HTTP handler that finds the service and method of a
// call, checks its bearer token, decodes bodies strictly into Google's own types, answers errors in Google's format,
// and keeps resources in the store. The services are packages below it; each exports Register. The core knows no
// resource, starts nothing and listens nowhere.
//
// # Adding a collection
//
// The first path element of a URL is the service (the host name's first label at Google), the rest is the path as on
// that host, version included. A resource is kept under Request.Key, "<service>/<path without version>", as the JSON
// that a GET answers with:
//
//	func Register(core *googleapi.Core) {
//		s := core.Service("secretmanager")
//		s.Handle("POST", "v1/projects/{project}/secrets", func(ctx context.Context, r *googleapi.Request) (any, error) {
//			secret, err := r.DecodeDoc(secretmanager.Secret{}) // 400 on a field that Google does not know
//			if err != nil {
//				return nil, err
//			}
//			id := r.Query("secretId")
//			if !secretID.MatchString(id) {
//				return nil, googleapi.InvalidArgument("The provided Secret ID [%s] does not match the expected format [[a-zA-Z_0-9-]+]", id)
//			}
//			secret["name"], secret["createTime"] = r.Path()+"/"+id, googleapi.Timestamp(core.Now())
//			err = core.Store().Update(func(tx store.Tx) error {
//				if tx.Has(r.Key() + "/" + id) {
//					return googleapi.AlreadyExists("Secret [%s] already exists.", secret["name"])
//				}
//				secret["etag"] = googleapi.Fingerprint(secret)
//				return tx.Put(r.Key()+"/"+id, secret)
//			})
//			return secret, err
//		})
//		s.Handle("GET", "v1/projects/{project}/secrets/{secret}", …)           // r.Key() is the resource
//		s.Handle("POST", "v1/projects/{project}/secrets/{secret}:addVersion", …) // a custom verb
//	}
//
// A list is Children(tx, r.Key()) cut by Paginate. A patch with updateMask is Doc.ApplyMask, a JSON merge patch
// Doc.Merge. An operation that is over at once is Service.DoneOperation, read back through HandleOperations.
// Whoever prefers structs uses Request.Decode(&v) and NewDoc(v). Paths without a route are answered with 501 naming
// the call.
package googleapi
