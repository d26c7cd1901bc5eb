"""The census of checkpoints: every sparse autoencoder measured on every token of a sample, and what it shows.

* :mod:`~geowall.census.sample`, :mod:`~geowall.census.work`, :mod:`~geowall.census.ledger` and
  :mod:`~geowall.census.cluster` take it: durable row by row, on one machine or many;
* :mod:`~geowall.census.rows` says what a row holds;
* :mod:`~geowall.census.ranks`, :mod:`~geowall.census.discovery` and :mod:`~geowall.census.manifolds` read it:
  frequencies, discovery across widths, manifolds of known coordinate;
* :mod:`~geowall.census.chapter` holds the tables of chapter 05.
"""
