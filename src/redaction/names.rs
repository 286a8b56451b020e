//! Which names say that the value behind them is secret.

/// How sure a name makes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// `Password`, `AccountKey`: whatever follows is secret.
    Strong,
    /// `token`, `signature`, `pass`: also ordinary words; the value has to look like a secret.
    Weak,
    /// `code`, `key`: secret only as a parameter of a URL.
    Query,
    /// `Authorization`: a scheme and a value follow.
    Header,
    /// `Cookie`, `passphrase`: everything up to the end of the line.
    Line,
    /// `accountKey` of a system we do not know, `JSESSIONID`: secret only when drawn at random.
    Key,
    /// `PIN`, `CVV`: a short number.
    Digits,
}

/// Ends of names whose values are secret.
const STRONG: &[&str] = &[
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "passwort",
    "kennwort",
    "passord",
    "contrasena",
    "wachtwoord",
    "motdepasse",
    "userpwd",
    "pwd",
    "secret",
    "secrets",
    "secretvalue",
    "securestring",
    "accountkey",
    "accesskey",
    "accesskeyid",
    "apikey",
    "secretkey",
    "privatekey",
    "signingkey",
    "fernetkey",
    "functionkey",
    "functionskey",
    "masterkey",
    "hostkey",
    "subscriptionkey",
    "storagekey",
    "encryptionkey",
    "instrumentationkey",
    "dashboardkey",
    "sharedkey",
    "authkey",
    "systemkey",
    "sharedaccesssignature",
    "servicekey",
    "workspacekey",
    "cryptokey",
    "identityheader",
    "licensekey",
    "deploykey",
    "adminkey",
    "querykey",
    "appkey",
    "applicationkey",
    "webhookkey",
    "integrationkey",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "sastoken",
    "bearertoken",
    "apitoken",
    "sessiontoken",
    "securitytoken",
    "bottoken",
    "usertoken",
    "personalaccesstoken",
    "oauthtoken",
    "csrftoken",
    "xsrftoken",
    "deploytoken",
    "jwttoken",
    "vaulttoken",
    "privatetoken",
    "jobtoken",
    "patoken",
    "servicetoken",
    "admintoken",
    "accountsas",
    "clientkey",
];
const WEAK: [&str; 5] = ["token", "signature", "credential", "credentials", "pass"];
/// Names of other languages, which are looked for as they stand; in small letters.
pub(super) const PHRASES: &[&str] = &[
    "kennwort",
    "losungswort",
    "zugriffsschlüssel",
    "kontoschlüssel",
    "geheimer schlüssel",
    "api-schlüssel",
    "geheimnis",
    "mot de passe",
    "mot_de_passe",
    "clé secrète",
    "clé d'accès",
    "clé api",
    "clé d'api",
    "cle secrete",
    "contraseña",
    "contrasena",
    "clave secreta",
    "clave de acceso",
    "clave de api",
    "clave api",
    "clave privada",
    "senha",
    "palavra-passe",
    "chave secreta",
    "chave de acesso",
    "chave de api",
    "parola d'ordine",
    "parola chiave",
    "chiave segreta",
    "chiave di accesso",
    "wachtwoord",
    "geheime sleutel",
    "toegangssleutel",
    "lösenord",
    "losenord",
    "adgangskode",
    "adgangskode",
    "salasana",
    "hasło",
    "haslo",
    "heslo",
    "jelszó",
    "jelszo",
    "parolă",
    "parola",
    "şifre",
    "sifre",
    "lozinka",
    "geslo",
    "slaptažodis",
    "пароль",
    "секретный ключ",
    "ключ доступа",
    "密码",
    "密碼",
    "口令",
    "密钥",
    "パスワード",
    "秘密鍵",
    "비밀번호",
    "암호",
    "รหัสผ่าน",
    "mật khẩu",
    "كلمة المرور",
    "كلمة السر",
    "סיסמה",
    "κωδικός",
    "पासवर्ड",
    "kata sandi",
    "seed phrase",
    "recovery phrase",
];
/// Words before a lone `key`, as in `API key: …`.
const KEY_OF: &[&str] = &[
    "api",
    "account",
    "access",
    "secret",
    "shared",
    "function",
    "master",
    "subscription",
    "storage",
    "private",
    "signing",
    "encryption",
    "fernet",
    "host",
    "license",
    "admin",
    "app",
    "application",
    "integration",
    "deploy",
];
/// Ends of names of keys and tokens that are data: columns, places in a list, types.
const DATA: &[&str] = &[
    "partitionkey",
    "primarykey",
    "foreignkey",
    "rowkey",
    "sortkey",
    "cachekey",
    "idempotencykey",
    "publickey",
    "surrogatekey",
    "businesskey",
    "naturalkey",
    "duplicatekey",
    "hashkey",
    "uniquekey",
    "objectkey",
    "s3key",
    "blobkey",
    "issuekey",
    "projectkey",
    "dedupkey",
    "routingkey",
    "groupkey",
    "correlationkey",
    "messagekey",
    "lookupkey",
    "compositekey",
    "distributionkey",
    "clusterkey",
    "joinkey",
    "datekey",
    "productkey",
    "customerkey",
    "orderkey",
    "skkey",
    "pagetoken",
    "continuationtoken",
    "nexttoken",
    "synctoken",
    "skiptoken",
    "deltatoken",
    "eostoken",
    "bostoken",
    "padtoken",
    "keyvaultsecret",
    "kubernetessecret",
];
/// Parts of names of errors (`InvalidPassword: The …`), and names that only look like secrets.
const NOT_SECRET: [&str; 13] = [
    "invalid",
    "incorrect",
    "wrong",
    "missing",
    "expired",
    "error",
    "failed",
    "failure",
    "denied",
    "notfound",
    "exception",
    "publickeytoken",
    "cancellationtoken",
];

/// Judges an identifier, given the word before it (for `API key`).
pub(super) fn strength(identifier: &str, word_before: &str) -> Option<Strength> {
    let name: String = identifier
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | '.' | '[' | ']' | '$'))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if NOT_SECRET.iter().any(|part| name.contains(part))
        || DATA.iter().any(|end| name.ends_with(end))
    {
        return None;
    }
    if ["passphrase", "mnemonic"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        return Some(Strength::Line);
    }
    if name == "key" && KEY_OF.iter().any(|of| word_before.eq_ignore_ascii_case(of)) {
        return Some(Strength::Strong);
    }
    if name.ends_with("pass") {
        let separated = identifier.len() > 4
            && identifier
                .get(..identifier.len() - 4)
                .is_some_and(|p| p.ends_with(['_', '-']));
        return match (separated, name.as_str()) {
            (true, _) => Some(Strength::Strong),
            (false, "pass" | "dbpass" | "userpass") => Some(Strength::Weak),
            (false, "storepass" | "keypass" | "srcstorepass" | "deststorepass") => {
                Some(Strength::Strong)
            }
            _ => None,
        };
    }
    // Spark: the account follows what is set for it.
    if [
        "azureaccountkey",
        "azuresas",
        "azureaccountoauth2clientsecret",
    ]
    .iter()
    .any(|part| name.contains(part))
    {
        return Some(Strength::Strong);
    }
    if name == "sig" || STRONG.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(Strength::Strong);
    }
    if WEAK.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(Strength::Weak);
    }
    match name.as_str() {
        "code" | "key" => Some(Strength::Query),
        "authorization" | "proxyauthorization" | "xmsauthorization" => Some(Strength::Header),
        "cookie" | "setcookie" => Some(Strength::Line),
        "auth" | "sessid" | "phpsessid" | "sessionid" | "jsessionid" | "clientassertion"
        | "codeverifier" | "assertion" | "samlresponse" => Some(Strength::Key),
        "otp" | "totp" | "pin" | "cvv" | "cvc" | "cvv2" | "ssn" => Some(Strength::Digits),
        _ if name.ends_with("key") || identifier.to_ascii_lowercase().ends_with("_pat") => {
            Some(Strength::Key)
        }
        _ => None,
    }
}

/// Does this name stand for what a person types in, rather than for a key?
pub(super) fn is_password(identifier: &str) -> bool {
    let name = identifier.to_ascii_lowercase();
    !name.is_ascii()
        || [
            "pass",
            "pwd",
            "kennwort",
            "wort",
            "contrasena",
            "senha",
            "heslo",
            "haslo",
            "parola",
            "sifre",
            "jelszo",
            "wachtwoord",
        ]
        .iter()
        .any(|part| name.contains(part))
}

/// A name that says no more than that something is secret; in prose it may be followed by the name of an object.
pub(super) fn is_bare_secret(identifier: &str) -> bool {
    identifier.eq_ignore_ascii_case("secret") || identifier.eq_ignore_ascii_case("secrets")
}
