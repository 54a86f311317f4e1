package purge

import (
	"reflect"
	"testing"
)

func TestBatches(t *testing.T) {
	one := []zone{{id: zoneOne}}
	two := []zone{{id: zoneOne, domain: "example.com"}, {id: zoneTwo, domain: "example.org"}}
	type sizes map[batchKind][]int
	cases := map[string]struct {
		selectors Selectors
		zones     []zone
		files     int
		want      sizes
	}{
		"nothing":                       {Selectors{}, one, 100, sizes{}},
		"1 URL":                         {Selectors{URLs: numbered("https://h/%d", 1)}, one, 100, sizes{batchFiles: {1}}},
		"100 URLs":                      {Selectors{URLs: numbered("https://h/%d", 100)}, one, 100, sizes{batchFiles: {100}}},
		"101 URLs":                      {Selectors{URLs: numbered("https://h/%d", 101)}, one, 100, sizes{batchFiles: {100, 1}}},
		"501 URLs on enterprise":        {Selectors{URLs: numbered("https://h/%d", 501)}, one, 500, sizes{batchFiles: {500, 1}}},
		"100 hosts":                     {Selectors{Hosts: numbered("h%d", 100)}, one, 100, sizes{batchHosts: {100}}},
		"101 hosts on enterprise":       {Selectors{Hosts: numbered("h%d", 101)}, one, 500, sizes{batchHosts: {100, 1}}},
		"30 prefixes":                   {Selectors{Prefixes: numbered("h/%d", 30)}, one, 100, sizes{batchPrefixes: {30}}},
		"31 prefixes":                   {Selectors{Prefixes: numbered("h/%d", 31)}, one, 100, sizes{batchPrefixes: {30, 1}}},
		"versions are tags":             {Selectors{Tags: numbered("t%d", 99), Versions: []string{"1", "2"}}, one, 100, sizes{batchTags: {100, 1}}},
		"a version that is a tag too":   {Selectors{Tags: []string{"v-1"}, Versions: []string{"1"}}, one, 100, sizes{batchTags: {1}}},
		"everything":                    {Selectors{Everything: true}, one, 100, sizes{batchEverything: {0}}},
		"everything goes to every zone": {Selectors{Everything: true}, two, 100, sizes{batchEverything: {0, 0}}},
		"tags go to every zone":         {Selectors{Tags: []string{"a"}}, two, 100, sizes{batchTags: {1, 1}}},
		"names go to their zone": {Selectors{
			URLs: []string{"https://example.com/", "https://www.example.com:8443/", "http://example.org/"}, Hosts: []string{"a.example.org"}, Prefixes: []string{"example.com/x"},
		}, two, 100, sizes{batchFiles: {2, 1}, batchHosts: {1}, batchPrefixes: {1}}},
		"names of no zone go nowhere": {Selectors{URLs: []string{"https://notexample.com/"}, Hosts: []string{"com"}}, two, 100, sizes{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := sizes{}
			for _, b := range batches(c.selectors, c.zones, c.files) {
				got[b.kind] = append(got[b.kind], len(b.items))
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v: want %v", got, c.want)
			}
		})
	}
}

func TestBatchesOfTenThousand(t *testing.T) {
	items := numbered("https://h/%d", MaxItems)
	all := batches(Selectors{URLs: items}, []zone{{id: zoneOne}}, 100)
	var sent []string
	for _, b := range all {
		sent = append(sent, b.items...)
	}
	if len(all) != 100 || !reflect.DeepEqual(sent, items) {
		t.Errorf("%d batches of %d items: want 100, every item once and in order", len(all), len(sent))
	}
	if again := batches(Selectors{URLs: items}, []zone{{id: zoneOne}}, 100); !reflect.DeepEqual(again, all) {
		t.Error("the same selectors gave other batches")
	}
}
