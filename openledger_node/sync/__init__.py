"""Replication between nodes. Pure: bytes in, events and frames out; no clock, store or socket.

One link:

    faults            what a peer may do wrong, and what it costs
    frames            length framing: bytes into bodies
    messages          one typed, canonical struct for each frame type
    flow              credit for data frames, allowances for control frames
    frontier          digests of what is held; a link's short names for logs and roots
    frontier_entries  the marks of a FRONTIER, in parts
    session_table     which frame may come when, as tables
    answers           how far the answer to a question has come
    outgoing          a session's sending half
    session           a session: bytes in, events out
    events            what a session reports
    payloads          a payload as frames, and frames into a verified payload

Across links, and into the store:

    table             what one peer says it holds
    by_turns          queues that are served in turn
    replica           what this node holds, wants and tells, over all links
    intake            verifying what came, before it is stored
    fork_finding      a fork's proof from two spines and one segment of each side

docs/spec/sync.md is the protocol.
"""
