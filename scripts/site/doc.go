// Package site tests the documents as a site: what make site builds of README.md,
// docs and bench, in a real browser. The site itself is VitePress's, pinned by
// package-lock.json; .vitepress says which pages it has.
package site
