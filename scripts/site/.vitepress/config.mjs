// The documents as they stand in the repository, with a search. The build fails if a
// link of a page to another leads nowhere.
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'
import { address, outward, root, sidebar } from './pages.mjs'

const repository = process.env.SITE_REPOSITORY ?? 'https://github.com/edgegw/edge'

export default defineConfig({
  title: 'edge',
  description: 'A deploy-aware caching edge gateway',
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  base: process.env.SITE_BASE ?? '/',
  srcDir: root,
  srcExclude: ['!(docs|bench)/**/*.md', 'bench/*/**'], // what pages.mjs does not list
  outDir: process.env.SITE_FOLDER ?? root + '/dist/site',
  cleanUrls: true,
  ignoreDeadLinks: 'localhostLinks', // a reader's own machine
  rewrites: (page) => address(page).slice(1).replace(/(^|\/)$/, '$1index') + '.md',
  markdown: {
    anchor: { slugify: (heading) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-') }, // as the repository's host does
    languageAlias: { caddyfile: 'nginx', promql: 'sql' },
    config(md) {
      md.core.ruler.push('as-in-the-repository', (state) => {
        for (const token of state.tokens.flatMap((block) => block.children ?? [])) {
          if (token.type === 'code_inline') token.attrSet('v-pre', '') // {{ }} stands for itself
          if (token.type === 'link_open') {
            token.attrSet('href', outward(token.attrGet('href'), state.env.relativePath, repository))
          }
        }
      })
    },
  },
  vite: {
    plugins: [
      {
        name: 'vue-of-this-folder', // the pages are elsewhere, and would not find it
        enforce: 'pre',
        resolveId(id) {
          if (/^vue(\/|$)/.test(id)) return this.resolve(id, fileURLToPath(import.meta.url), { skipSelf: true })
        },
      },
    ],
  },
  themeConfig: {
    sidebar,
    outline: [2, 3],
    search: { provider: 'local' },
    socialLinks: [{ icon: 'github', link: repository }],
  },
})
