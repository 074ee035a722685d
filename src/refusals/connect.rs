//! Reverse proxies in front of applications.

sentences! { "connect":
    address_of_application() = "is the address of the application; the proxy needs another one";
    address_of_latchkey() = "is the address of Latchkey; choose another one";
    address() = "must be a host and a port, such as 127.0.0.1:9000";
    busy() = "another check is running; try again in a few seconds";
    host() = "must be a host name such as orders.example, without port and path";
    link_local() = "is an address that is not checked: a link-local one, one of many receivers or of none, or that of a metadata service of a cloud";
    listen() = "must be an IP address and a port, such as 0.0.0.0:80";
    plain() = "must be reached with http; the connection between the proxy and the application is not encrypted here";
    proxy() = "must be one of the proxies in the list";
    service() = "must be a Service of the cluster, such as orders.shop:9000 (name and namespace), or the address of another machine";
    unresolved() = "is a name that this server cannot resolve";
}
