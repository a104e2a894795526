"""Links between machines: TLS 1.3 between transport keys, whom to dial, whom to let in.

The surface, module by module (docs/spec/links.md has the rules; nothing here knows the protocol
that runs over a link):

    address    PeerAddress(node_id, host, port): parse(text), str(), endpoint();
               Endpoint(host, port): parse(text), str(); node_id_text(id), parse_node_id(text)
    identity   NodeIdentity(transport_key): .node_id, .key, .certificate()
    tls        TlsContext(identity, policy): wraps a stream in TLS 1.3, reads the peer's key inside
               the handshake and asks policy.accepts(node_id) -> reason it is refused, or None
    link       Link, a trio.abc.Stream: .peer_id, .address, .is_outbound, .is_up, .wait_up(),
               .received_bytes, .sent_bytes, .greeted() (lifts the limit of bytes before HELLO),
               .fault; dial_link(context, address), memory_link_pair(a_id, b_id)
    table      LinkTable(own_id, max_links): the links of now, one a peer; serve(link, handler)
    records    PeerRecord: sign_record(...), read_record(...), read_records(...): signed addresses
    book       PeerBook: addresses, last seen, scores, bans; choose(...); changes() and load(...)
    peer       one entry of the book and its encoding
    policy     Gate(own_id, book, now_ms, allow): the policy of a node, open or closed
    dialler    Dialler(context, table, book, handler, ...).run(): keeps outbound links
    listener   Listener(context, table, handler, ...).run(endpoints): lets others in, with limits;
               open_listeners(endpoints), bound_to(listener), Listener.serve(listener)
    limits     counts and log lines by address
    hosts      which nodes of the book are known at a host by records
    discovery  LanDiscovery(node_id, ledger_id, port, found, ...).run(): mDNS, with the extra `lan`

How a daemon wires them (`handler` is `async def handler(link: Link) -> None`; when it returns, the
link is closed):

    identity = NodeIdentity(transport_key)
    book = PeerBook()
    book.load(stored_pairs)                           # (node id, bytes) pairs that changes() gave
    gate = Gate(identity.node_id, book, now_ms=clock_ms, allow=frozenset(allowed_ids))
    context = TlsContext(identity, gate)
    table = LinkTable(identity.node_id, max_links=64)
    listener = Listener(context, table, handler, limits=ListenLimits(), log=log)
    dialler = Dialler(context, table, book, handler, random=rng, now_ms=clock_ms, log=log)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(listener.run, [Endpoint.parse("0.0.0.0:4767")])
        nursery.start_soon(dialler.run)

`log` is anything with `.info(event, **fields)` and `.warning(event, **fields)`. Times are
milliseconds that the caller passes in, and trio's clock for what only lives in memory; random
choices come from the caller's `random.Random`. Failures of a peer or link are NetworkError, with
the reason as code.
"""
