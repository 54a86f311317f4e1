package purge

// Selectors name what to purge. Kinds may be mixed, except that Everything
// stands alone.
type Selectors struct {
	// URLs are absolute, without fragment, as the visitor sees them.
	URLs []string `json:"urls,omitempty"`
	// Tags are cache tags: printable ASCII without spaces and commas.
	Tags []string `json:"tags,omitempty"`
	// Prefixes are host/path, without scheme, query and fragment.
	Prefixes []string `json:"prefixes,omitempty"`
	// Hosts are names without port.
	Hosts []string `json:"hosts,omitempty"`
	// Versions of the application; everything that they produced.
	Versions []string `json:"versions,omitempty"`
	// Everything has to be said.
	Everything bool `json:"everything,omitempty"`
}
