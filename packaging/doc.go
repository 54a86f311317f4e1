// Package packaging tests what edge is shipped in: the container image, and the
// files that others read to run it. It is a module of its own, so that their
// parsers stay out of edge.
package packaging
