//! A shopping cart on three nodes in this process: two carts that diverge are merged by their union.
//!
//! `cargo run -p dynamo-node --example cart`

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_node::{Client, ClientError, Options, Running, start};
use dynamo_protocol::{Member, NodeId, Settings, View};
use tokio::net::TcpListener;

type Cart = BTreeSet<String>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes = start_nodes(3).await?;
    let client = |node: usize| Client::new(nodes[node].address().to_string());

    // Two shoppers read the empty cart, then both put: neither has seen the other's item.
    let (_, nothing) = read(&client(0)).await?;
    write(&client(0), nothing.clone(), &Cart::from(["bread".to_owned()])).await?;
    write(&client(1), nothing, &Cart::from(["wine".to_owned()])).await?;

    let siblings = client(2).get("cart").await?.values;
    println!("{} siblings: {siblings:?}", siblings.len());

    // The third reads both, puts the union with one more item, and both are overwritten by it.
    let (mut cart, context) = read(&client(2)).await?;
    cart.insert("cheese".to_owned());
    write(&client(2), context, &cart).await?;

    let (cart, _) = read(&client(0)).await?;
    println!("the cart: {cart:?}");
    assert_eq!(cart.into_iter().collect::<Vec<_>>(), ["bread", "cheese", "wine"]);

    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

/// The union of all siblings, and the context to overwrite them with.
async fn read(client: &Client) -> Result<(Cart, Bytes), Box<dyn std::error::Error>> {
    let got = client.get("cart").await?;
    let mut cart = Cart::new();
    for sibling in got.values {
        cart.extend(serde_json::from_slice::<Cart>(&sibling)?);
    }
    Ok((cart, got.context))
}

async fn write(client: &Client, context: Bytes, cart: &Cart) -> Result<(), ClientError> {
    let value = serde_json::to_vec(cart).expect("a set of strings serialises");
    client.put("cart", context, value).await.map(drop)
}

async fn start_nodes(count: u16) -> Result<Vec<Running>, Box<dyn std::error::Error>> {
    // Listeners first: every node has to know where the others are.
    let mut listeners = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for id in (1..=count).map(NodeId) {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.insert(id, listener.local_addr()?.to_string());
        listeners.insert(id, listener);
    }
    let members = addresses.keys().map(|&id| Member::new(id, 16)).collect();
    let settings = Settings::new([3, 2, 2]);
    let view = View::genesis(&settings, members)?;
    let mut nodes = Vec::new();
    for (id, listener) in listeners {
        let mut peers = addresses.clone();
        peers.remove(&id);
        let options = Options::new(id, settings, view.clone(), peers);
        let options = Options { genesis: true, ..options };
        nodes.push(start(options, listener).await?);
    }
    Ok(nodes)
}
