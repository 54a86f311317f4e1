// Which documents the site has, and what leads to them.
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

// root is the folder of the repository.
export const root = join(dirname(fileURLToPath(import.meta.url)), '../../..')

const read = (page) => readFileSync(join(root, page), 'utf8')
const pagesIn = (folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => posix.join(folder, name))

// folders have pages; what they are called stands over them.
const folders = [
  ['Documents', 'docs'],
  ['Deployment', 'docs/deployment'],
  ['Runbooks', 'docs/runbooks'],
  ['Measured', 'bench'],
]

// pages are all of them, by their paths in the repository.
export const pages = ['README.md', 'CHANGELOG.md', ...folders.flatMap(([, folder]) => pagesIn(folder))]

// order is that in which README links documents. What it does not link comes after.
const order = [...read('README.md').matchAll(/\]\(([^)#]+\.md)/g)].map((match) => match[1])
const place = (page) => (order.includes(page) ? order.indexOf(page) : order.length)

// address is that of a page on the site.
export const address = (page) => '/' + page.replace(/(^|\/)README\.md$/, '$1').replace(/\.md$/, '')

const title = (page) => read(page).match(/^# (.+)$/m)[1].replaceAll('`', '')
const item = (page) => ({ text: title(page), link: address(page) })

// sidebar lists all pages.
export const sidebar = [
  { text: 'Start', items: [item('README.md'), item('CHANGELOG.md')] },
  ...folders.map(([text, folder]) => ({
    text,
    collapsed: folder !== 'docs',
    items: pagesIn(folder)
      .sort((a, b) => place(a) - place(b) || a.localeCompare(b))
      .map(item),
  })),
]

// outward makes a link of a page lead to the repository, unless the site has what it names.
export function outward(href, page, repository) {
  if (/^([a-z]+:|#|\/)/.test(href)) return href
  const [path, anchor] = href.split('#')
  const file = posix.join(dirname(page), path).replace(/\/$/, '')
  const there = pages.includes(file) ? file : posix.join(file, 'README.md')
  if (pages.includes(there)) return address(there) + (anchor ? '#' + anchor : '')
  return `${repository}/blob/main/${relative('.', file)}`
}
