// Package datasync makes what was written to a file durable, for as little as the
// system asks for it.
package datasync
