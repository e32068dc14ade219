// The catalogue: search as one types, filters and order that live in the address, arrow keys from card to card.
(() => {
  const form = document.querySelector(".arm-filters")
  const list = document.getElementById("cards")
  const none = document.querySelector(".arm-none")
  const shown = document.getElementById("shown")
  const plain = text => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase()
  const cards = [...list.children].map((item, order) => {
    const { slug, s, v, y, d, t, m } = item.dataset
    const link = item.querySelector("a")
    const words = [slug, link.textContent, item.querySelector(".arm-claim").textContent, m || ""].join(" ")
    return { item, link, order, subject: s, verdict: v, year: y, date: d, tags: t.split(" "),
             title: plain(link.textContent), text: plain(words) }
  })
  const byTitle = (a, b) => a.title < b.title ? -1 : 1
  const orders = {
    verified: (a, b) => a.date === b.date ? byTitle(a, b) : a.date < b.date ? 1 : -1,
    title: byTitle,
    year: (a, b) => b.year - a.year || byTitle(a, b),
  }
  let sorted = ""

  function read() {
    const data = new FormData(form)
    const one = name => data.get(name) || ""
    return { q: one("q"), subject: one("subject"), year: one("year"), tag: one("tag"),
             verdict: data.getAll("verdict").join(","), sort: one("sort") }
  }

  function apply(state) {
    const terms = plain(state.q).split(/\s+/).filter(Boolean)
    const verdicts = state.verdict ? state.verdict.split(",") : []
    let count = 0
    for (const card of cards) {
      const fits = (!state.subject || card.subject === state.subject)
        && (!state.year || card.year === state.year)
        && (!state.tag || card.tags.includes(state.tag))
        && (!verdicts.length || verdicts.includes(card.verdict))
        && terms.every(term => card.text.includes(term))
      card.item.hidden = !fits
      count += fits
    }
    if (sorted !== state.sort) {
      sorted = state.sort
      list.append(...[...cards].sort(orders[sorted] || orders.verified).map(card => card.item))
    }
    shown.textContent = count
    none.hidden = count > 0
  }

  function address(state) {
    const kept = Object.entries(state).filter(([name, value]) => value && !(name === "sort" && value === "verified"))
    const hash = new URLSearchParams(kept).toString()
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search)
  }

  function fromAddress() {
    const given = new URLSearchParams(location.hash.slice(1))
    for (const name of ["q", "subject", "year", "tag", "sort"]) {
      const field = form.elements[name]
      const value = given.get(name) || (name === "sort" ? "verified" : "")
      if (name === "tag" && value && ![...field.options].some(o => o.value === value)) field.add(new Option(value))
      field.value = value
      if (field.selectedIndex === -1) field.selectedIndex = 0
    }
    const verdicts = (given.get("verdict") || "").split(",")
    for (const box of form.querySelectorAll("[name=verdict]")) box.checked = verdicts.includes(box.value)
    apply(read())
  }

  const changed = () => { const state = read(); apply(state); address(state) }
  form.addEventListener("input", changed)
  form.addEventListener("submit", event => event.preventDefault())
  form.addEventListener("reset", event => { event.preventDefault(); history.replaceState(null, "", "#"); fromAddress(); changed() })
  none.querySelector("button").addEventListener("click", () => { form.querySelector("[type=reset]").click(); form.elements.q.focus() })
  window.addEventListener("hashchange", fromAddress)
  document.querySelector(".arm-catalogue").addEventListener("keydown", event => {
    const links = [...list.querySelectorAll("li:not([hidden]) a")]
    const at = links.indexOf(document.activeElement)
    const inSearch = event.target === form.elements.q
    if (event.key === "Escape" && inSearch && event.target.value) {
      event.target.value = ""
      changed()
    } else if ((event.key === "ArrowDown" || event.key === "ArrowRight") && at >= 0 || event.key === "ArrowDown" && inSearch) {
      links[at + 1]?.focus()
    } else if ((event.key === "ArrowUp" || event.key === "ArrowLeft") && at >= 0) {
      (links[at - 1] || form.elements.q).focus()
    } else return
    event.preventDefault()
    event.stopPropagation()
  })
  fromAddress()
})()
