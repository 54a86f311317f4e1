package caddymodule

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Detach copies a request so that a handler may answer it on another goroutine
// when its client is gone: with a replacer, variables and an exchange of its
// own, and with nothing of the client's connection. Placeholders have the
// values that they have for the client.
func (o *origin) Detach(ctx context.Context, r *http.Request) *http.Request {
	o.client.spans.decided()
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	copied := r.Clone(detached{Context: ctx, client: r.Context()})
	copied.Body = http.NoBody
	rewritten := *copied
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		// Preparing takes this for what the client sent: {http.request.orig_uri}.
		copied.Method, copied.URL, copied.RequestURI = original.Method, original.URL, original.RequestURI
	}
	repl := caddy.NewReplacer()
	copied = caddyhttp.PrepareRequest(copied, repl, nil, server)
	copied.Method, copied.URL, copied.RequestURI = rewritten.Method, rewritten.URL, rewritten.RequestURI
	if from, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any); ok {
		for key, value := range from {
			caddyhttp.SetVar(copied.Context(), key, value)
		}
	}
	ex := &exchange{id: o.client.id, verdict: o.client.verdict, cached: true, shared: true, untraced: o.client.untraced, spans: o.client.spans.detached()}
	caddyhttp.SetVar(copied.Context(), exchangeVar, ex)
	repl.Map(ex.placeholder)
	if client, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(inherited(client))
	}
	return copied
}

// inherited answers for the placeholders that handlers and matchers in front
// have set: what a path_regexp captured, what a map says, who the user is. The
// request's and the response's own are not asked of the client's replacer: it
// would look at what the client's goroutine is still writing.
func inherited(client *caddy.Replacer) caddy.ReplacerFunc {
	then := client.WithoutFile() // copies the list of providers, which may grow later
	return func(key string) (any, bool) {
		for _, own := range []string{"http.request.", "http.response.", "http.vars.", "edge.", "file."} {
			if strings.HasPrefix(key, own) {
				return nil, false
			}
		}
		return then.Get(key)
	}
}

// detached carries ctx's life and, of the client's values, only those that do
// not lead to its connection.
type detached struct {
	context.Context
	client context.Context
}

func (d detached) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey, http.ServerContextKey:
		return d.client.Value(key)
	}
	return d.Context.Value(key)
}
