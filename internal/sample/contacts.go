package sample

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxCreated bounds what visitors may add to a replica: the oldest added
// contact makes room for the newest.
const maxCreated = 200

// contact is one entry of the register.
type contact struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	Company string `json:"company"`
	Email   string `json:"email"`
	Stage   string `json:"stage"`
}

var stages = []string{"lead", "talking", "won", "lost"}

// contacts is the register of one replica: a fixed beginning, the same on all
// replicas, and what visitors added to this one.
type contacts struct {
	seeded int

	mu   sync.RWMutex
	list []contact // by id
	last int
}

func newContacts() *contacts {
	first := []string{"Ada", "Blaise", "Carl", "Dorothy", "Emmy", "Frances", "Grace", "Hedy"}
	family := []string{"Marsh", "Okafor", "Lindqvist"}
	companies := []string{"Northwind Mills", "Halden Tools", "Brightwater", "Cask & Stone"}
	c := new(contacts)
	for i := range len(first) * len(family) {
		name, surname := first[i%len(first)], family[i/len(first)]
		c.add(contact{
			Name:    name + " " + surname,
			Company: companies[i%len(companies)],
			Email:   strings.ToLower(name + "." + surname + "@example.com"),
			Stage:   stages[i%len(stages)],
		})
	}
	c.seeded = len(c.list)
	return c
}

// add gives the contact an id and keeps it.
func (c *contacts) add(added contact) contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	added.ID = c.last
	c.list = append(c.list, added)
	if c.seeded > 0 && len(c.list) > c.seeded+maxCreated {
		c.list = slices.Delete(c.list, c.seeded, c.seeded+1)
	}
	return added
}

func (c *contacts) get(id int) (contact, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i := slices.IndexFunc(c.list, func(each contact) bool { return each.ID == id })
	if i < 0 {
		return contact{}, false
	}
	return c.list[i], true
}

// search lists the contacts whose name or company holds the query, newest
// first; every contact for the empty query.
func (c *contacts) search(query string) []contact {
	query = strings.ToLower(query)
	found := []contact{}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, each := range slices.Backward(c.list) {
		if strings.Contains(strings.ToLower(each.Name+"\n"+each.Company), query) {
			found = append(found, each)
		}
	}
	return found
}

func (a *app) apiList(w http.ResponseWriter, r *http.Request) {
	if !think(w, r) {
		return
	}
	writeJSON(w, http.StatusOK, a.contacts.search(r.URL.Query().Get("q")))
}

func (a *app) apiCreate(w http.ResponseWriter, r *http.Request) {
	var sent contact
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	body.DisallowUnknownFields()
	if err := body.Decode(&sent); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string][]string{"errors": {err.Error()}})
		return
	}
	if mistakes := sent.mistakes(); len(mistakes) > 0 {
		writeJSON(w, http.StatusUnprocessableEntity, map[string][]string{"errors": mistakes})
		return
	}
	if sent.Stage == "" {
		sent.Stage = stages[0]
	}
	if !think(w, r) {
		return
	}
	writeJSON(w, http.StatusCreated, a.contacts.add(sent))
}

// mistakes lists everything that is wrong with a contact that a client sent.
func (c contact) mistakes() []string {
	var list []string
	if c.ID != 0 {
		list = append(list, "id: the register gives it")
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(c.Name)); n < 1 || n > 100 {
		list = append(list, "name: want 1 to 100 characters")
	}
	if utf8.RuneCountInString(c.Company) > 100 {
		list = append(list, "company: want at most 100 characters")
	}
	if before, after, found := strings.Cut(c.Email, "@"); !found || before == "" || after == "" || len(c.Email) > 254 {
		list = append(list, "email: want one such as ada@example.com")
	}
	if c.Stage != "" && !slices.Contains(stages, c.Stage) {
		list = append(list, "stage: want one of "+strings.Join(stages, ", "))
	}
	return list
}
