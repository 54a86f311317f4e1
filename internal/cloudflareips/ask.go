package cloudflareips

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloudflare/cloudflare-go/v7/ips"
	"github.com/cloudflare/cloudflare-go/v7/option"
)

// DefaultURL is Cloudflare's API.
const DefaultURL = "https://api.cloudflare.com/client/v4"

const askFor = 20 * time.Second

// Asker asks the API at a URL for the list, which takes no token.
func Asker(url string, over http.RoundTripper) func(context.Context) ([]string, error) {
	service := ips.NewIPService(
		option.WithBaseURL(strings.TrimSuffix(url, "/")+"/"),
		option.WithHTTPClient(&http.Client{
			Transport:     over,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		option.WithMaxRetries(0),
		option.WithHeader("User-Agent", "edge"),
	)
	return func(ctx context.Context) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		answer, err := service.List(ctx, ips.IPListParams{})
		if err != nil {
			return nil, fmt.Errorf("the list of Cloudflare's addresses: %w", err)
		}
		v4, ok4 := texts(answer.IPV4CIDRs)
		v6, ok6 := texts(answer.IPV6CIDRs)
		if !ok4 || !ok6 || len(v4) == 0 || len(v6) == 0 {
			return nil, errors.New("the list of Cloudflare's addresses: want ipv4_cidrs and ipv6_cidrs")
		}
		return slices.Concat(v4, v6), nil
	}
}

// texts reads a list of strings, as which the client has typed it or not.
func texts(value any) ([]string, bool) {
	list, ok := value.([]string)
	return list, ok
}
