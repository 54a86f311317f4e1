package purge

import (
	"net/url"
	"slices"
	"strings"

	"github.com/cloudflare/cloudflare-go/v7/cache"
)

// batchKind is one of the selector kinds that Cloudflare takes; a call holds
// exactly one.
type batchKind string

const (
	batchFiles      batchKind = "files"
	batchTags       batchKind = "tags"
	batchPrefixes   batchKind = "prefixes"
	batchHosts      batchKind = "hosts"
	batchEverything batchKind = "purge_everything"
)

// Items of one call. Cloudflare documents 100 for tags and hosts on every plan;
// for prefixes its pages disagree between 30 and 100, so we send the smaller.
// Files are by plan.
const (
	flexItems   = 100
	prefixItems = 30
)

// batch is the content of one call.
type batch struct {
	zone        string
	environment string // of the zone; "" for all of it
	kind        batchKind
	items       []string // none for everything
}

// count is what the batch draws from the bucket of URLs, or shows to people.
func (b batch) count() int { return max(1, len(b.items)) }

// body is the batch as the official client sends it. Its fields are set one by
// one: the helpers for them live in the client's root package, which is far too
// large to link.
func (b batch) body() cache.CachePurgeParamsBodyUnion {
	switch b.kind {
	case batchFiles:
		var body cache.CachePurgeParamsBodyCachePurgeSingleFile
		body.Files.Value, body.Files.Present = b.items, true
		return body
	case batchTags:
		var body cache.CachePurgeParamsBodyCachePurgeFlexPurgeByTags
		body.Tags.Value, body.Tags.Present = b.items, true
		return body
	case batchPrefixes:
		var body cache.CachePurgeParamsBodyCachePurgeFlexPurgeByPrefixes
		body.Prefixes.Value, body.Prefixes.Present = b.items, true
		return body
	case batchHosts:
		var body cache.CachePurgeParamsBodyCachePurgeFlexPurgeByHostnames
		body.Hosts.Value, body.Hosts.Present = b.items, true
		return body
	default:
		var body cache.CachePurgeParamsBodyCachePurgeEverything
		body.PurgeEverything.Value, body.PurgeEverything.Present = true, true
		return body
	}
}

// zone is a Cloudflare zone, or one environment of it. Without a domain it takes
// every host.
type zone struct{ id, environment, domain string }

// owns reports whether the zone serves the host.
func (z zone) owns(host string) bool {
	return z.domain == "" || host == z.domain || strings.HasSuffix(host, "."+z.domain)
}

// batches splits an order's selectors into calls, in an order that depends on
// nothing but them. URLs come first: they are the cheapest.
func batches(s Selectors, zones []zone, fileItems int) []batch {
	tags := slices.Clone(s.Tags)
	for _, version := range s.Versions {
		tags = append(tags, tagOf(version))
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)

	var all []batch
	for _, z := range zones {
		all = z.split(all, batchFiles, z.filter(s.URLs, urlHost), fileItems)
		all = z.split(all, batchTags, tags, flexItems)
		all = z.split(all, batchPrefixes, z.filter(s.Prefixes, prefixHost), prefixItems)
		all = z.split(all, batchHosts, z.filter(s.Hosts, func(h string) string { return h }), flexItems)
		if s.Everything {
			all = append(all, batch{zone: z.id, environment: z.environment, kind: batchEverything})
		}
	}
	return all
}

func (z zone) split(all []batch, kind batchKind, items []string, size int) []batch {
	for chunk := range slices.Chunk(items, size) {
		all = append(all, batch{z.id, z.environment, kind, chunk})
	}
	return all
}

// filter leaves out what another zone serves, and what none does: Cloudflare
// cannot hold it.
func (z zone) filter(items []string, host func(string) string) []string {
	if z.domain == "" {
		return items
	}
	return slices.DeleteFunc(slices.Clone(items), func(item string) bool { return !z.owns(host(item)) })
}

// urlHost is the host of a normalised URL.
func urlHost(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func prefixHost(prefix string) string {
	host, _, _ := strings.Cut(prefix, "/")
	return host
}

// smaller splits a batch that was refused for an unknown reason into calls of at
// most 30 items, the limit that older pages of Cloudflare give for all kinds.
// nil means that the batch is that small already.
func (b batch) smaller() []batch {
	if len(b.items) <= prefixItems {
		return nil
	}
	return zone{id: b.zone, environment: b.environment}.split(nil, b.kind, b.items, prefixItems)
}
