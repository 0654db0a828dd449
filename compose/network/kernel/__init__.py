"""Conversations with the kernel over netlink.

netlink.py   a socket, batches of messages, answers
links.py     interfaces, addresses and routes; nft.py: rules of nftables
encoded.py   the messages for a container, encoded once and filled in for each
pyroute.py   pyroute2's message classes, loaded without the rest of it
"""
