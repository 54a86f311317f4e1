package cli

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/purge"
)

const (
	// maxSitemap is what the protocol allows, uncompressed; maxSitemaps bounds
	// those that an index leads to.
	maxSitemap  = 50 << 20
	maxSitemaps = 50
	// maxWarm is what an order may hold.
	maxWarm         = 1000
	sitemapPatience = 30 * time.Second
)

// warmList gives the URLs of --warm: a page's, those of a sitemap, or those of a
// file, which holds one a line or is a sitemap. It keeps their order, and the
// first thousand; left says how many there were besides.
func warmList(ctx context.Context, sources []string) (urls []string, left int, err error) {
	var errs []error
	for _, source := range sources {
		found, err := warmSource(ctx, source)
		if err != nil {
			errs = append(errs, fmt.Errorf("warm %q: %w", source, err))
		}
		for _, u := range found {
			if !slices.Contains(urls, u) {
				urls = append(urls, u)
			}
		}
	}
	if len(errs) > 0 {
		return nil, 0, errors.Join(errs...)
	}
	left = max(0, len(urls)-maxWarm)
	urls, err = purge.WarmURLs(urls[:len(urls)-left])
	return urls, left, err
}

func warmSource(ctx context.Context, source string) ([]string, error) {
	u, err := url.Parse(source)
	switch {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.HasSuffix(strings.ToLower(u.Path), ".xml"):
		text, err := fetchSitemap(ctx, source)
		if err != nil {
			return nil, err
		}
		return readSitemap(ctx, text)
	case err == nil && u.Scheme != "" && u.Host != "":
		return []string{source}, nil
	}
	text, err := readWhole(source)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("<")) {
		return readSitemap(ctx, text)
	}
	return urlLines(source, text)
}

// sitemap is a sitemap or an index of them (sitemaps.org, 0.9).
type sitemap struct {
	XMLName xml.Name
	Pages   []location `xml:"url"`
	Maps    []location `xml:"sitemap"`
}

type location struct {
	Loc string `xml:"loc"`
}

// readSitemap gives the pages of a sitemap, or of those that an index names.
func readSitemap(ctx context.Context, text []byte) ([]string, error) {
	s, err := parseSitemap(text)
	if err != nil {
		return nil, err
	}
	pages := s.Pages
	if len(s.Maps) > maxSitemaps {
		return nil, fmt.Errorf("an index of %d sitemaps: want at most %d", len(s.Maps), maxSitemaps)
	}
	for _, m := range s.Maps {
		text, err := fetchSitemap(ctx, strings.TrimSpace(m.Loc))
		if err != nil {
			return nil, err
		}
		one, err := parseSitemap(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Loc, err)
		}
		pages = append(pages, one.Pages...)
	}
	urls := make([]string, 0, len(pages))
	for _, p := range pages {
		urls = append(urls, strings.TrimSpace(p.Loc))
	}
	if len(urls) == 0 {
		return nil, errors.New("a sitemap without a page: want url elements with a loc")
	}
	return urls, nil
}

func parseSitemap(text []byte) (sitemap, error) {
	var s sitemap
	if err := xml.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("not a sitemap: %w", err)
	}
	if s.XMLName.Local != "urlset" && s.XMLName.Local != "sitemapindex" {
		return s, fmt.Errorf("XML with the root %q: want urlset or sitemapindex", s.XMLName.Local)
	}
	return s, nil
}

func fetchSitemap(ctx context.Context, at string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, sitemapPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "edge")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", at, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxSitemap+1))
	if err == nil && len(text) > maxSitemap {
		err = fmt.Errorf("%s: want at most %d bytes", at, maxSitemap)
	}
	return text, err
}

// sayLeft warns of pages that are not fetched.
func (p *purging) sayLeft(left int) {
	if left > 0 {
		p.err.say("edge: warning: warm has %d pages more than %d: these are left cold", left, maxWarm)
	}
}

// warmedLine reads "warm node: 2 hit, 3 miss, 0 failed".
func warmedLine(w purge.Warmed) string { return "warm " + w.String() }
