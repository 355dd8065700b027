package recipienttime

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the binary carries its own zones: a container without them must not shift a send

	"github.com/nyaruka/phonenumbers"
)

// Recipient is what is known of where someone is. Every field may be empty.
type Recipient struct {
	Timezone string // IANA name, as "America/Chicago"
	Country  string // ISO 3166 alpha-2, as "US"
	Phone    string // E.164
}

// Zones finds the time zones that a recipient may be in. It keeps the zones that it has loaded, and is
// safe for concurrent use.
type Zones struct {
	fallback *time.Location

	mu     sync.RWMutex
	loaded map[string]*time.Location // zones that exist alone: bounded by the database of zones, about 600 names
}

// NewZones returns a finder of zones. The fallback is the zone of a recipient of whom nothing is known,
// most often the sender's own; nil means UTC.
func NewZones(fallback *time.Location) *Zones {
	if fallback == nil {
		fallback = time.UTC
	}
	return &Zones{fallback: fallback, loaded: make(map[string]*time.Location)}
}

// Of lists every zone that the recipient may be in; never none. The first of these that yields one counts:
//
//  1. the recipient's own Timezone;
//  2. the zones of the number's area code, where it has one. Where the Country says otherwise than the
//     number, the country's zones are added;
//  3. all zones of the Country (for the US the contiguous states, Alaska and Hawaii: its territories have
//     country codes of their own);
//  4. all zones of the country that the number's calling code belongs to;
//  5. the fallback.
func (z *Zones) Of(r Recipient) []*time.Location {
	if zone := z.load(strings.TrimSpace(r.Timezone)); zone != nil {
		return []*time.Location{zone}
	}
	country := strings.ToUpper(strings.TrimSpace(r.Country))
	names, region := areaZones(r.Phone, country)
	if len(names) == 0 {
		names = countryZones(country)
	} else if country != "" && region != country {
		names = append(slices.Clone(names), countryZones(country)...)
	}
	if found := z.loadAll(names); len(found) > 0 {
		return found
	}
	if found := z.loadAll(countryZones(region)); len(found) > 0 {
		return found
	}
	return []*time.Location{z.fallback}
}

// areaZones names the zones of a number's area code and the region that it belongs to. It names no zone
// where the number tells no more than its calling code does: toll-free numbers, mobile numbers of
// countries whose mobile prefixes are not bound to a place.
func areaZones(phone, country string) (names []string, region string) {
	number, err := phonenumbers.Parse(phone, country)
	if err != nil {
		return nil, ""
	}
	region = phonenumbers.GetRegionCodeForNumber(number)
	if region == "" || region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY {
		// The calling code alone is left: its main country (for +1 the US).
		region = phonenumbers.GetRegionCodeForCountryCode(int(number.GetCountryCode()))
		return nil, region
	}
	if fixed := correctedZones(region); fixed != nil {
		return fixed, region
	}
	names, err = phonenumbers.GetTimezonesForNumber(number)
	if err != nil || len(names) >= len(callingCodeZones(int(number.GetCountryCode()))) && len(names) > 1 {
		return nil, region
	}
	return names, region
}

// countryZones names every zone of a country; nil where it is not known.
func countryZones(country string) []string {
	switch country {
	case "US":
		return []string{
			"America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles",
			"America/Anchorage", "America/Adak", "Pacific/Honolulu",
		}
	case "CA":
		return []string{
			"America/St_Johns", "America/Halifax", "America/Toronto", "America/Winnipeg", "America/Regina",
			"America/Edmonton", "America/Vancouver",
		}
	}
	if fixed := correctedZones(country); fixed != nil {
		return fixed
	}
	code := phonenumbers.GetCountryCodeForRegion(country)
	if code == 0 {
		return nil
	}
	if phonenumbers.GetRegionCodeForCountryCode(code) == country {
		return callingCodeZones(code)
	}
	// A lesser region of a shared calling code (the Caribbean within +1): the zones of a number of its own.
	example := phonenumbers.GetExampleNumber(country)
	if example == nil {
		return callingCodeZones(code)
	}
	names, err := phonenumbers.GetTimezonesForNumber(example)
	if err != nil {
		return nil
	}
	return names
}

// correctedZones names the zones of countries for which phonenumbers (9.0.32 of libphonenumber's data)
// names another country's zone, with other changes of the clock than their own.
func correctedZones(country string) []string {
	switch country {
	case "DZ":
		return []string{"Africa/Algiers"} // given as Europe/Paris
	case "EH":
		return []string{"Africa/El_Aaiun"} // Atlantic/Canary
	case "LY":
		return []string{"Africa/Tripoli"} // Europe/Bucharest
	case "MA":
		return []string{"Africa/Casablanca"} // Atlantic/Canary
	case "NI":
		return []string{"America/Managua"} // America/Chicago
	case "PS":
		return []string{"Asia/Gaza", "Asia/Hebron"} // Europe/Bucharest
	}
	return nil
}

func callingCodeZones(code int) []string {
	names, err := phonenumbers.GetTimezonesForPrefix(fmt.Sprintf("+%d", code))
	if err != nil {
		return nil
	}
	return names
}

// loadAll loads what exists of the names, each once.
func (z *Zones) loadAll(names []string) []*time.Location {
	var found []*time.Location
	for _, name := range names {
		if zone := z.load(name); zone != nil && !slices.Contains(found, zone) {
			found = append(found, zone)
		}
	}
	return found
}

// load returns the zone of a name, nil where there is none. "Local" and the empty name, which Go would
// read as the server's zone and as UTC, are no zone of a recipient.
func (z *Zones) load(name string) *time.Location {
	if name == "" || strings.EqualFold(name, "local") || name == phonenumbers.UNKNOWN_TIMEZONE {
		return nil
	}
	z.mu.RLock()
	zone, known := z.loaded[name]
	z.mu.RUnlock()
	if known {
		return zone
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if first, known := z.loaded[name]; known {
		return first // another goroutine was faster: one name, one zone
	}
	z.loaded[name] = zone
	return zone
}
