"""Ingresses: what the proxies on the hosts are told, and what users are told about it. See docs/ingress.md.

certificates   which Secrets can be shown to clients, and for which names; pure
plan           what is led where, and what is wrong with which Ingress; pure
haproxy        a plan in the proxy's own words; pure
controller     writes that into the Secret which the proxies' pods mount, and addresses into statuses
"""
