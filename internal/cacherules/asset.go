package cacherules

import (
	"net/http"
	"strings"
)

// class is what a file name's extension, or a media type, says that a body is.
type class uint8

const (
	unknownClass class = iota
	// document: what an application makes for one visitor: HTML, JSON, XML.
	document
	text
	style
	script
	font
	media // images, sound and moving pictures
	other // archives, office files, programs
)

// assets are the extensions under which CDNs store what they are told nothing
// about: the default list of Cloudflare, less .ejs, which names templates, and
// source maps and module scripts on top. What is none of them may be a page.
var assets = map[string]class{
	"css": style, "js": script, "mjs": script, "map": other,
	"woff": font, "woff2": font, "ttf": font, "otf": font, "eot": font,
	"avif": media, "bmp": media, "gif": media, "ico": media, "jpeg": media, "jpg": media, "pict": media, "png": media,
	"svg": media, "svgz": media, "tif": media, "tiff": media, "webp": media,
	"avi": media, "flac": media, "mid": media, "midi": media, "mkv": media, "mp3": media, "mp4": media, "ogg": media, "webm": media,
	"7z": other, "apk": other, "bin": other, "bz2": other, "class": other, "csv": other, "dmg": other, "doc": other, "docx": other,
	"eps": other, "exe": other, "gz": other, "iso": other, "jar": other, "pdf": other, "pls": other, "ppt": other, "pptx": other,
	"ps": other, "rar": other, "swf": other, "tar": other, "xls": other, "xlsx": other, "zip": other, "zst": other,
}

// Mismatched reports an answer under an asset's name that is clearly something
// else, such as a visitor's account page as /account/x.css: somebody may have
// made the name up so that caches keep the page (web cache deception). An
// origin that permits shared caches by name (public, s-maxage, a lifetime for
// CDNs) knows what it does. The path is the visitor's, decoded.
func (v *Verdict) Mismatched(path string, status int, h http.Header) bool {
	if v.StoreMismatchedType || status >= 300 && status < 400 { // a redirect's body is a note about it
		return false
	}
	extension := extensionOf(path)
	named := assets[extension]
	if named == unknownClass {
		return false
	}
	return clash(named, extension, typeOf(h)) && !sharesByName(h)
}

// extensionOf is what follows the last dot of the last segment, in lower case.
// Servers that take parameters off a segment, or end a path at a delimiter, see
// other extensions, so the longest reading counts: "/x.css;a=1" is a css too.
func extensionOf(path string) string {
	if extension := lastExtension(path); assets[extension] != unknownClass {
		return extension
	}
	return lastExtension(withoutParameters(path))
}

func lastExtension(path string) string {
	dot := strings.LastIndexByte(path, '.')
	if dot < 0 || len(path)-dot > len(".woff2") || strings.IndexByte(path[dot:], '/') >= 0 {
		return ""
	}
	return strings.ToLower(path[dot+1:])
}

// typeOf is the media type, in lower case and without parameters.
func typeOf(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(trim(kind))
}

// clash compares loosely: browsers and servers do so too, and what no browser
// shows as a page is of no use to a deceiver.
func clash(named class, extension, kind string) bool {
	got := classOf(kind)
	switch {
	case got == unknownClass, got == other:
		return false
	case got == document:
		isXML := kind == "application/xml" || kind == "text/xml"
		isJSON := kind == "application/json"
		return !(isXML && strings.HasPrefix(extension, "svg")) && !(isJSON && extension == "map")
	case got == text:
		return named == media || named == font
	}
	return got != named && named != other
}

func classOf(kind string) class {
	major, minor, _ := strings.Cut(kind, "/")
	switch {
	case minor == "html", minor == "xhtml+xml", minor == "xml", minor == "json", minor == "x-component":
		return document
	case kind == "text/css":
		return style
	case strings.HasSuffix(minor, "javascript"), strings.HasSuffix(minor, "ecmascript"):
		return script
	case major == "font", strings.HasPrefix(minor, "font-"), strings.HasPrefix(minor, "x-font-"), minor == "vnd.ms-fontobject":
		return font
	case major == "image", major == "audio", major == "video":
		return media
	case strings.HasSuffix(minor, "+json"), strings.HasSuffix(minor, "+xml"):
		return document
	case major == "text":
		return text
	case kind == "":
		return unknownClass
	}
	return other
}

// sharesByName reports an origin that speaks about shared caches: what it says
// to all caches may come from a default that its author did not think of.
func sharesByName(h http.Header) bool {
	said := ParseDirectives(h[browserField])
	return said.Public || said.SMaxAge.Set || targeted(h)
}
