# Stands in for the official image: Debian's Python, with what pip would have found on the network.
FROM base/python
RUN rm /usr/lib/python3.11/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
COPY --from=wheels . /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
CMD ["python3"]
