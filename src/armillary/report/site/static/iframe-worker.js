// How the theme's search gets its worker and its index.
if (location.protocol === "file:") {
  // A page that was opened from a folder may not start a worker; this one runs in a hidden frame instead.
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      this.waiting = []
      document.body.append(frame)
      const inside = frame.contentWindow
      const script = inside.document.createElement("script")
      script.src = new URL(url, document.baseURI)
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      script.onload = () => {
        this.deliver = data => inside.dispatchEvent(new inside.MessageEvent("message", { data }))
        this.waiting.splice(0).forEach(this.deliver)
      }
      script.onerror = () => this.dispatchEvent(new ErrorEvent("error", { message: `cannot load ${url}` }))
      inside.document.head.append(script)
    }
    postMessage(data) {
      this.deliver ? this.deliver(data) : this.waiting.push(data)
    }
    terminate() {}
  }
} else {
  // From a server the index of the search would be fetched with every page; it can wait until somebody searches.
  const searching = new Promise(resolve => addEventListener("focusin", event => event.target.closest(".md-search") && resolve()))
  const { open, send } = XMLHttpRequest.prototype
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    this.canWait = String(url).endsWith("search/search_index.json")
    return open.call(this, method, url, ...rest)
  }
  XMLHttpRequest.prototype.send = function (...body) {
    if (this.canWait) searching.then(() => send.apply(this, body))
    else send.apply(this, body)
  }
}
